// Package storesql keeps what users own in a SQL database: every query is
// written here, once, for all databases. It opens none and holds no rules;
// storesqlite and storepostgres open one each and say in a Dialect what theirs
// does differently.
//
// To add a table:
//
//  1. A migration of the same number and name in storesqlite/migrations and in
//     storepostgres/migrations. Times are Unix seconds in a BIGINT (INTEGER in
//     SQLite), identifiers TEXT, secrets sealed in a BYTEA (BLOB), truth values
//     BOOLEAN (INTEGER). What a failed statement is told apart by is in the
//     name of the constraint (see Dialect.Failure).
//  2. The noun's package declares the interface that its callers need. Store
//     implements it in a file of its own here: lookups on s.reader, changes in
//     s.update, which commits them together with those of others, or as methods
//     of tx where they belong to a change of account.Store. A query has "?" for
//     each parameter, TRUE and FALSE, lists by t.list, and nothing else that
//     only one database knows.
//  3. A conformance test in storetest, which every database runs.
package storesql
