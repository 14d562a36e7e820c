package storesql

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"onhook/internal/account"
	"onhook/internal/callrecord"
)

var _ callrecord.Store = (*Store)(nil)

const recordColumns = `account, main, id, endpoint, peer, direction, caller, dialled, caller_name, started_at, answered_at, ended_at,
	status, cause, source, sip_code, reason, codec, trunk, application, user_agent, transport, legs`

// recordRow is the place of one record in an INSERT, recordRows how many go
// into one statement: parsing it costs more than a row does.
const (
	recordRow  = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	recordRows = 50
)

// SaveRecords keeps records.
func (s *Store) SaveRecords(ctx context.Context, records []*callrecord.Record) error {
	if len(records) == 0 {
		return nil
	}
	return s.update(ctx, func(ctx context.Context, t *tx) error {
		for len(records) > 0 {
			n := min(recordRows, len(records))
			args := make([]any, 0, n*23)
			for _, r := range records[:n] {
				args = append(args, recordArgs(r)...)
			}
			_, err := t.exec(ctx, `INSERT INTO call_records (`+recordColumns+`) VALUES `+recordRow+strings.Repeat(`, `+recordRow, n-1)+
				` ON CONFLICT (account, id) DO NOTHING`, args...)
			if err != nil {
				return err
			}
			records = records[n:]
		}
		return nil
	})
}

// jsonLeg is a leg as it is stored; times in Unix milliseconds, 0 for none.
type jsonLeg struct {
	To      string `json:"to"`
	Contact string `json:"contact"`
	Start   int64  `json:"start"`
	Answer  int64  `json:"answer,omitempty"`
	End     int64  `json:"end,omitempty"`
	SIPCode int    `json:"sip_code,omitempty"`
}

func recordArgs(r *callrecord.Record) []any {
	legs := make([]jsonLeg, len(r.Legs))
	for i, l := range r.Legs {
		legs[i] = jsonLeg{plain(l.To), plain(l.Contact), milli(l.Start), milli(l.Answer), milli(l.End), l.SIPCode}
	}
	text, err := json.Marshal(legs)
	if err != nil { // numbers and valid strings
		text = []byte("[]")
	}
	return []any{r.Account, r.Main, r.ID.String(), int64(r.Endpoint), sql.NullInt64{Int64: int64(r.Peer), Valid: r.Peer != 0}, string(r.Direction),
		plain(r.From), plain(r.To), plain(r.CallerName), milli(r.Start), sql.NullInt64{Int64: milli(r.Answer), Valid: !r.Answer.IsZero()}, milli(r.End),
		string(r.Status), r.Cause.Code, string(r.Source), r.SIPCode, r.Reason, plain(r.Codec), r.Trunk, r.Application, plain(r.UserAgent), r.Transport, string(text)}
}

// plain is what a phone has said, as every database takes it: UTF-8 without NUL.
func plain(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}

func milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMilli(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func scanRecord(row scanner) (*callrecord.Record, error) {
	r := &callrecord.Record{}
	var id, legs string
	var peer, answer sql.NullInt64
	var start, end int64
	var cause int
	err := row.Scan(&r.Account, &r.Main, &id, &r.Endpoint, &peer, &r.Direction, &r.From, &r.To, &r.CallerName, &start, &answer, &end,
		&r.Status, &cause, &r.Source, &r.SIPCode, &r.Reason, &r.Codec, &r.Trunk, &r.Application, &r.UserAgent, &r.Transport, &legs)
	if err != nil {
		return nil, err
	}
	r.ID, _ = callrecord.ParseID(id)
	r.Peer, r.Cause = account.EndpointID(peer.Int64), callrecord.CauseOf(cause)
	r.Start, r.Answer, r.End = fromMilli(start), fromMilli(answer.Int64), fromMilli(end)
	var stored []jsonLeg
	if err := json.Unmarshal([]byte(legs), &stored); err != nil {
		return nil, err
	}
	r.Legs = make([]callrecord.Leg, len(stored))
	for i, l := range stored {
		r.Legs[i] = callrecord.Leg{To: l.To, Contact: l.Contact, Start: fromMilli(l.Start), Answer: fromMilli(l.Answer), End: fromMilli(l.End), SIPCode: l.SIPCode}
	}
	return r, nil
}

// Record finds the record that an account, or else one of its sub-accounts, has
// of a call.
func (s *Store) Record(ctx context.Context, authID string, id callrecord.ID) (*callrecord.Record, error) {
	r, err := scanRecord(s.row(ctx, `SELECT `+recordColumns+` FROM call_records WHERE id = ? AND (account = ? OR main = ?)
		ORDER BY CASE WHEN account = ? THEN 0 ELSE 1 END, seq LIMIT 1`, id.String(), authID, authID, authID))
	if errors.Is(err, account.ErrNotFound) {
		return nil, callrecord.ErrNotFound
	}
	return r, err
}

// Records returns one page, newest first, and the number of all that match. Both
// are read from one snapshot.
func (s *Store) Records(ctx context.Context, authID string, q callrecord.Query) (page []*callrecord.Record, total int, err error) {
	t, end, err := s.snapshot(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer end()
	where, args := t.recordConditions(authID, q, callrecord.LastID)
	if err := t.row(ctx, `SELECT count(*) FROM call_records WHERE `+where, args...).Scan(&total); err != nil {
		return nil, 0, err
	}
	page, err = t.records(ctx, where, append(args, q.Limit, q.Offset))
	return page, total, err
}

// RecordsBefore returns the next records of a long list.
func (s *Store) RecordsBefore(ctx context.Context, authID string, q callrecord.Query, before callrecord.ID, limit int) ([]*callrecord.Record, error) {
	where, args := s.recordConditions(authID, q, before)
	return s.records(ctx, where, append(args, limit, 0))
}

func (r reader) records(ctx context.Context, where string, args []any) (list []*callrecord.Record, err error) {
	err = r.each(ctx, func(row scanner) error {
		record, err := scanRecord(row)
		list = append(list, record)
		return err
	}, `SELECT `+recordColumns+` FROM call_records WHERE `+where+` ORDER BY id DESC LIMIT ? OFFSET ?`, args...)
	return list, err
}

// recordConditions writes a query's filters as SQL.
func (c conn) recordConditions(authID string, q callrecord.Query, before callrecord.ID) (where string, args []any) {
	all := []string{"account = ?"}
	args = []any{authID}
	add := func(condition string, values ...any) {
		all = append(all, condition)
		args = append(args, values...)
	}
	if !q.End.IsZero() {
		if first := callrecord.FirstID(q.End); before.String() > first.String() {
			before = first
		}
	}
	if before != callrecord.LastID {
		add("id < ?", before.String())
	}
	if !q.Start.IsZero() {
		add("id >= ?", callrecord.FirstID(q.Start).String())
	}
	party := func(column, text string) {
		if text != "" {
			user := "sip:" + text + "@"
			add("("+column+" IN (?, ?, ?, ?) OR substr("+column+", 1, ?) = ?)", text, "sip:"+text, "sips:"+text, "tel:"+text, len([]rune(user)), user)
		}
	}
	party("caller", q.From)
	party("dialled", q.To)
	if q.Endpoint != 0 {
		add("(endpoint = ? OR peer = ?)", int64(q.Endpoint), int64(q.Endpoint))
	}
	if q.Causes != nil {
		codes := make([]int64, len(q.Causes))
		for i, code := range q.Causes {
			codes[i] = int64(code)
		}
		condition, arg := c.list(codes)
		add("cause "+condition, arg)
	}
	return strings.Join(all, " AND "), args
}

// DeleteRecords deletes records that are too old.
func (s *Store) DeleteRecords(ctx context.Context, before time.Time, limit int) (n int, err error) {
	err = s.update(ctx, func(ctx context.Context, t *tx) error {
		var seqs []int64
		err := t.each(ctx, func(row scanner) error {
			var seq int64
			err := row.Scan(&seq)
			seqs = append(seqs, seq)
			return err
		}, `SELECT seq FROM call_records WHERE id < ? ORDER BY id LIMIT ?`, callrecord.FirstID(before).String(), limit)
		if n = len(seqs); err != nil || n == 0 {
			return err
		}
		in, arg := t.list(seqs)
		_, err = t.exec(ctx, `DELETE FROM call_records WHERE seq `+in, arg)
		return err
	})
	return n, err
}
