package storesql

import (
	"context"
	"strings"
)

// inserts are statements that insert rows into one table. There are few texts,
// each of so many rows, so that all are prepared: parsing one costs more than its
// rows do.
type inserts struct {
	values int // of a row
	rows   []int
	texts  []string
}

// newInserts makes statements of so many rows each, the most first, 1 at the end.
func newInserts(head string, values int, tail string, rows ...int) inserts {
	place := `(` + strings.Repeat(`?, `, values-1) + `?)`
	i := inserts{values: values, rows: rows}
	for _, n := range rows {
		i.texts = append(i.texts, head+place+strings.Repeat(`, `+place, n-1)+tail)
	}
	return i
}

// run inserts rows, whose values follow each other. Between its statements it
// lets others compute who have waited for a processor: calls come first, and
// their records would hold one for milliseconds.
func (i *inserts) run(ctx context.Context, t *tx, args []any) error {
	for k, rows := range i.rows {
		for n := rows * i.values; len(args) >= n; args = args[n:] {
			if _, err := t.exec(ctx, i.texts[k], args[:n]...); err != nil {
				return err
			}
			giveWay()
		}
	}
	return nil
}
