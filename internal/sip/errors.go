package sip

// Error says why a message was refused and how to answer: Status and Reason
// for the response, or Status 0 for what can only be dropped. Errors are values
// made once; find them with errors.As.
type Error struct {
	Status int
	Reason string
}

func (e *Error) Error() string { return e.Reason }

var (
	errStartLine      = &Error{400, "Malformed start line"}
	errRequestURI     = &Error{400, "Malformed Request-URI"}
	errVersion        = &Error{505, "Version Not Supported"}
	errHeaderLine     = &Error{400, "Malformed header field"}
	errHeaderSize     = &Error{400, "Header field too large"}
	errHeaderCount    = &Error{400, "Too many header fields"}
	errRepeated       = &Error{400, "Header field repeated"}
	errLength         = &Error{400, "Content-Length does not fit the message"}
	errMissingVia     = &Error{400, "Missing Via header field"}
	errMissingFrom    = &Error{400, "Missing From header field"}
	errMissingTo      = &Error{400, "Missing To header field"}
	errMissingCallID  = &Error{400, "Missing Call-ID header field"}
	errMissingCSeq    = &Error{400, "Missing CSeq header field"}
	errBadVia         = &Error{400, "Malformed Via header field"}
	errBadFrom        = &Error{400, "Malformed From header field"}
	errBadTo          = &Error{400, "Malformed To header field"}
	errBadCallID      = &Error{400, "Malformed Call-ID header field"}
	errBadCSeq        = &Error{400, "Malformed CSeq header field"}
	errCSeqMethod     = &Error{400, "CSeq method does not match the request"}
	errBadContact     = &Error{400, "Malformed Contact header field"}
	errBranch         = &Error{400, "Via branch without an identifier"}
	errBadRoute       = &Error{400, "Malformed Route header field"}
	errBadMaxForwards = &Error{400, "Malformed Max-Forwards header field"}
	errBadExpires     = &Error{400, "Malformed Expires header field"}
	errTooLarge       = &Error{513, "Message Too Large"}
	errNoLength       = &Error{400, "Missing Content-Length header field"}
	errNotSIP         = &Error{0, "Not a SIP message"}
)
