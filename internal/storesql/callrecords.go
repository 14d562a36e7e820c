package storesql

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"onhook/internal/account"
	"onhook/internal/callrecord"
)

var _ callrecord.Store = (*Store)(nil)

const recordColumns = `account, main, id, endpoint, peer, direction, caller, dialled, caller_name, started_at, answered_at, ended_at,
	status, cause, source, sip_code, reason, codec, trunk, application, user_agent, transport, legs`

const recordValues = 23

var recordInserts = newInserts(`INSERT INTO call_records (`+recordColumns+`) VALUES `, recordValues, ` ON CONFLICT (account, id) DO NOTHING`, 5, 1)

// SaveRecords keeps records.
func (s *Store) SaveRecords(ctx context.Context, records []*callrecord.Record) error {
	if len(records) == 0 {
		return nil
	}
	args := make([]any, 0, len(records)*recordValues)
	for _, r := range records {
		args = appendRecord(args, r)
	}
	return s.update(ctx, func(ctx context.Context, t *tx) error { return recordInserts.run(ctx, t, args) })
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

// appendLegs writes legs as jsonLeg reads them.
func appendLegs(b []byte, legs []callrecord.Leg) []byte {
	b = append(b, '[')
	for i := range legs {
		l := &legs[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = appendJSON(append(b, `{"to":`...), plain(l.To))
		b = appendJSON(append(b, `,"contact":`...), plain(l.Contact))
		b = strconv.AppendInt(append(b, `,"start":`...), milli(l.Start), 10)
		if at := milli(l.Answer); at != 0 {
			b = strconv.AppendInt(append(b, `,"answer":`...), at, 10)
		}
		if at := milli(l.End); at != 0 {
			b = strconv.AppendInt(append(b, `,"end":`...), at, 10)
		}
		if l.SIPCode != 0 {
			b = strconv.AppendInt(append(b, `,"sip_code":`...), int64(l.SIPCode), 10)
		}
		b = append(b, '}')
	}
	return append(b, ']')
}

// appendJSON writes a JSON string, for what needs no escape without a detour.
func appendJSON(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			text, err := json.Marshal(s)
			if err != nil { // a string is always one
				text = []byte(`""`)
			}
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// appendRecord appends the values of a row. Those that are the same as in the
// row before, as most are, share its boxes.
func appendRecord(args []any, r *callrecord.Record) []any {
	before := args[max(0, len(args)-recordValues):]
	at := len(args)
	text := func(s string) {
		if len(before) > 0 {
			if box := before[len(args)-at]; box == any(s) {
				args = append(args, box)
				return
			}
		}
		args = append(args, s)
	}
	number := func(n int64) { args = append(args, n) }
	numberOrNull := func(n int64) {
		if n == 0 {
			args = append(args, nil)
			return
		}
		args = append(args, n)
	}
	var legs [512]byte
	text(r.Account)
	text(r.Main)
	text(r.ID.String())
	number(int64(r.Endpoint))
	numberOrNull(int64(r.Peer))
	text(string(r.Direction))
	text(plain(r.From))
	text(plain(r.To))
	text(plain(r.CallerName))
	number(milli(r.Start))
	numberOrNull(milli(r.Answer))
	number(milli(r.End))
	text(string(r.Status))
	number(int64(r.Cause.Code))
	text(string(r.Source))
	number(int64(r.SIPCode))
	text(r.Reason)
	text(plain(r.Codec))
	text(r.Trunk)
	text(r.Application)
	text(plain(r.UserAgent))
	text(r.Transport)
	text(string(appendLegs(legs[:0], r.Legs)))
	return args
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
	if q.Endpoint != 0 {
		all[0] = c.dialect.RecordsOf()
		args = append(args, int64(q.Endpoint), int64(q.Endpoint))
	}
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
