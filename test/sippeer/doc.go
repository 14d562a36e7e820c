// Package sippeer is a SIP phone for tests, written as text in and text out. It
// shares no code with the program under test, so that a misreading of the
// RFCs in one does not agree with the same misreading in the other. It keeps no
// transaction state beyond what a test asks for.
package sippeer
