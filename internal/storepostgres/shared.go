package storepostgres

import (
	"context"
	"strconv"

	"github.com/jackc/pgx/v5"

	"onhook/internal/storesql"
)

// channel is where servers tell each other that they changed something.
const channel = "onhook_changes"

// shared is how the servers on one database share it.
type shared struct{ config *pgx.ConnConfig }

var _ storesql.Shared = shared{}

// Lock is released by the end of the transaction, after the next one can see
// what was committed.
func (shared) Lock() string {
	return `SELECT pg_advisory_xact_lock(` + strconv.Itoa(lockWriting) + `)`
}

func (shared) Notify() string { return `SELECT pg_notify('` + channel + `', ?)` }

func (s shared) Listen(ctx context.Context, heard func(from string)) error {
	config := s.config.Copy()
	config.RuntimeParams["application_name"] = "onhook listener"
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		heard(n.Payload)
	}
}
