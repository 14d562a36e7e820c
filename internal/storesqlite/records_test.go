package storesqlite

import (
	"database/sql"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"onhook/internal/account"
	"onhook/internal/callrecord"
)

// TestRecordsOfAnEndpointInManyBlocks: an endpoint's records are found through
// the index in whatever block they are, also once the oldest are gone.
func TestRecordsOfAnEndpointInManyBlocks(t *testing.T) {
	db, err := open(t.Context(), filepath.Join(t.TempDir(), "db"), testKeys(t), settings{busy: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const (
		many           = 10_000 // two full blocks and a part of a third
		mine, somebody = account.EndpointID(1e14 + 1), account.EndpointID(1e14 + 2)
		authID         = "MA_AAAAAAAA"
	)
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(i int) time.Time { return start.Add(time.Duration(i) * time.Second) }
	var all []*callrecord.Record
	var want []callrecord.ID // newest first
	for i := range many {
		r := &callrecord.Record{ID: callrecord.NewID(at(i)), Account: authID, Main: authID, Endpoint: somebody, Peer: somebody, Start: at(i), End: at(i)}
		switch i % 1000 {
		case 7:
			r.Endpoint = mine
		case 8:
			r.Peer = mine
		case 9:
			r.Endpoint, r.Peer = mine, mine // once
		}
		if r.Endpoint == mine || r.Peer == mine {
			want = slices.Insert(want, 0, r.ID)
		}
		all = append(all, r)
	}
	for batch := range slices.Chunk(all, 500) {
		if err := db.SaveRecords(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	check := func(q callrecord.Query, want []callrecord.ID) {
		t.Helper()
		q.Endpoint, q.Limit = mine, len(want)+1
		page, total, err := db.Records(t.Context(), authID, q)
		if err != nil || total != len(want) {
			t.Fatalf("%d records, %v; want %d", total, err, len(want))
		}
		var got []callrecord.ID
		for _, r := range page {
			got = append(got, r.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	check(callrecord.Query{}, want)
	check(callrecord.Query{Start: at(2000), End: at(3000)}, want[len(want)-9:len(want)-6])
	for deleted := 500; deleted == 500; { // the first block is empty then, the second begins later
		if deleted, err = db.DeleteRecords(t.Context(), at(5000), 500); err != nil {
			t.Fatal(err)
		}
	}
	check(callrecord.Query{}, want[:15])

	for _, query := range []string{
		`SELECT count(*) FROM call_records WHERE ` + dialect{}.RecordsOf(),
		`SELECT * FROM call_records WHERE ` + dialect{}.RecordsOf() + ` AND id < 'a' AND id >= '0' ORDER BY id DESC LIMIT 20`,
	} {
		plan := planOf(t, db.read, query, authID, int64(mine), int64(mine))
		for _, step := range []string{"SEARCH call_records USING INTEGER PRIMARY KEY (rowid=?)",
			"SEARCH r USING COVERING INDEX call_records_endpoint (<expr>=? AND endpoint=?)",
			"SEARCH r USING COVERING INDEX call_records_peer (<expr>=? AND peer=?)"} {
			if !slices.Contains(plan, step) {
				t.Errorf("%s: no %q in the plan:\n%s", query, step, strings.Join(plan, "\n"))
			}
		}
	}
}

// planOf returns the steps in which SQLite works on a query.
func planOf(t *testing.T, db *sql.DB, query string, args ...any) (steps []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, step)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return steps
}
