package api

import (
	"context"
	"encoding/csv"
	"net/http"
	"strconv"
	"strings"
	"time"

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
	return []string{r.ID.String(), r.Account, r.Endpoint.String(), string(r.Direction), cell(r.From), cell(r.To), cell(r.CallerName),
		momentText(r.Start), momentText(r.Answer), momentText(r.End), strconv.FormatInt(seconds(r.Duration(r.End)), 10),
		strconv.FormatInt(seconds(r.Billed(r.End)), 10), string(r.Status), r.Cause.Text, strconv.Itoa(r.Cause.Code), r.Cause.Name, string(r.Source),
		codeText(r.SIPCode), r.Reason, cell(r.Codec), r.Trunk, r.Application, cell(r.UserAgent), r.Transport}
}

// cell is what a phone has said, as a spreadsheet shows it: one that would take
// it for a formula finds an apostrophe first.
func cell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}

func momentText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(moments)
}

func codeText(code int) string {
	if code == 0 {
		return ""
	}
	return strconv.Itoa(code)
}
