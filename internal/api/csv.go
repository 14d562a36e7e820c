package api

import (
	"context"
	"encoding/csv"
	"net/http"
	"strconv"
	"strings"

	"onhook/internal/callrecord"
)

// csvColumns are the fields of a record that a line holds, in order.
var csvColumns = []string{"uuid", "account_id", "endpoint_id", "direction", "from", "to", "caller_name", "start_time", "answer_time", "end_time",
	"duration", "billsec", "call_status", "hangup_cause", "hangup_cause_code", "hangup_cause_name", "hangup_source", "sip_code", "reason",
	"codec", "trunk", "application_id", "user_agent", "transport"}

// csvPiece is how many records are read at once.
const csvPiece = 1000

// exportRecords answers with every record that matches, as CSV (RFC 4180), piece
// by piece: neither memory nor the time of a request bounds how many.
func (h *handler) exportRecords(r *request, q callrecord.Query) (reply, error) {
	first, err := h.Records.RecordsBefore(r.Context(), r.scope.AuthID, q, callrecord.LastID, csvPiece)
	if err != nil {
		return reply{}, err
	}
	header := map[string]string{"Content-Type": "text/csv; charset=utf-8; header=present", "Content-Disposition": `attachment; filename="calls.csv"`,
		"Cache-Control": "no-store"}
	return reply{status: http.StatusOK, header: header, stream: func(ctx context.Context) {
		if r.Method != http.MethodHead && h.writeCSV(ctx, r, q, first) != nil {
			panic(http.ErrAbortHandler) // half a file must not look like a whole one
		}
	}}, nil
}

func (h *handler) writeCSV(ctx context.Context, r *request, q callrecord.Query, piece []*callrecord.Record) error {
	out := csv.NewWriter(r.w)
	out.UseCRLF = true
	if err := out.Write(csvColumns); err != nil {
		return err
	}
	for len(piece) > 0 {
		for _, record := range piece {
			if err := out.Write(csvLine(record)); err != nil {
				return err
			}
		}
		out.Flush()
		if err := out.Error(); err != nil {
			return err
		}
		if len(piece) < csvPiece {
			break
		}
		var err error
		if piece, err = h.Records.RecordsBefore(ctx, r.scope.AuthID, q, piece[len(piece)-1].ID, csvPiece); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

func csvLine(r *callrecord.Record) []string {
	j := newCallJSON(r, r.End)
	return []string{j.UUID, j.AccountID, j.EndpointID, j.Direction, cell(j.From), cell(j.To), cell(j.CallerName),
		j.StartTime, text(j.AnswerTime), text(j.EndTime), strconv.FormatInt(j.Duration, 10), strconv.FormatInt(j.Billsec, 10), j.CallStatus,
		text(j.HangupCause), number(j.HangupCode), text(j.HangupName), text(j.HangupSource), number(j.SIPCode), text(j.Reason),
		cell(text(j.Codec)), text(j.Trunk), text(j.ApplicationID), cell(text(j.UserAgent)), j.Transport}
}

// cell is what a phone has said, as a spreadsheet shows it: one that would take
// it for a formula finds an apostrophe first.
func cell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func number(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}
