package siptrace

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// AppendText writes attempts for people to read, oldest first: each with its
// verdict and its ladder of messages.
func AppendText(dst []byte, attempts []Attempt) []byte {
	for i := len(attempts) - 1; i >= 0; i-- {
		a := &attempts[i]
		dst = fmt.Appendf(dst, "=== %s %s at %s: %s", a.Kind, a.ID, a.Started.UTC().Format(time.RFC3339Nano), a.Outcome)
		if a.Reason != "" {
			dst = fmt.Appendf(dst, " %s: %s", a.Reason, a.Sentence)
		}
		dst = append(dst, '\n')
		for _, m := range a.Messages {
			dst = fmt.Appendf(dst, "\n--- +%.3f s  %s → %s  %s\n%s", m.At.Sub(a.Started).Seconds(), m.From, m.To, m.Transport, bytes.ReplaceAll(m.Text, []byte("\r\n"), []byte("\n")))
		}
		if a.Omitted > 0 {
			dst = fmt.Appendf(dst, "\n--- and %d more messages, not kept\n", a.Omitted)
		}
		dst = append(dst, '\n')
	}
	return dst
}

// Values of the file format (draft-ietf-opsawg-pcap) and of Wireshark's
// exported PDUs, which carry a message with its addresses whatever transport it
// came by, and name its protocol whatever the port is.
const (
	pcapMagic    = 0xa1b2c3d4
	linkUpperPDU = 252

	tagEnd       = 0
	tagProtocol  = 12
	tagIPv4From  = 20
	tagIPv4To    = 21
	tagIPv6From  = 22
	tagIPv6To    = 23
	tagPortType  = 24
	tagPortFrom  = 25
	tagPortTo    = 26
	portUDP      = 3
	portTCP      = 2
	maxPDULength = 1 << 18
)

// AppendPCAP writes attempts as a capture file, oldest first.
func AppendPCAP(dst []byte, attempts []Attempt) []byte {
	be := binary.BigEndian
	dst = be.AppendUint32(dst, pcapMagic)
	dst = be.AppendUint16(be.AppendUint16(dst, 2), 4) // version
	dst = be.AppendUint32(be.AppendUint32(dst, 0), 0)
	dst = be.AppendUint32(be.AppendUint32(dst, maxPDULength), linkUpperPDU)
	for i := len(attempts) - 1; i >= 0; i-- {
		for _, m := range attempts[i].Messages {
			packet := appendPDU(nil, m)
			dst = be.AppendUint32(dst, uint32(m.At.Unix()))
			dst = be.AppendUint32(dst, uint32(m.At.Nanosecond()/1000))
			dst = be.AppendUint32(be.AppendUint32(dst, uint32(len(packet))), uint32(len(packet)))
			dst = append(dst, packet...)
		}
	}
	return dst
}

func appendPDU(dst []byte, m Entry) []byte {
	dst = appendTag(dst, tagProtocol, []byte("sip"))
	dst = appendAddress(dst, m.From.Addr().Unmap(), tagIPv4From, tagIPv6From)
	dst = appendAddress(dst, m.To.Addr().Unmap(), tagIPv4To, tagIPv6To)
	port := uint32(portUDP)
	if m.Transport.Reliable() {
		port = portTCP
	}
	for _, t := range []struct {
		tag   uint16
		value uint32
	}{{tagPortType, port}, {tagPortFrom, uint32(m.From.Port())}, {tagPortTo, uint32(m.To.Port())}} {
		dst = appendTag(dst, t.tag, binary.BigEndian.AppendUint32(nil, t.value))
	}
	return append(appendTag(dst, tagEnd, nil), m.Text...)
}

func appendAddress(dst []byte, a netip.Addr, tag4, tag6 uint16) []byte {
	if a.Is4() {
		return appendTag(dst, tag4, a.AsSlice())
	}
	return appendTag(dst, tag6, a.AsSlice())
}

// appendTag writes a tag, filled up to four bytes.
func appendTag(dst []byte, tag uint16, value []byte) []byte {
	for len(value)%4 != 0 {
		value = append(value, 0)
	}
	dst = binary.BigEndian.AppendUint16(dst, tag)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(value)))
	return append(dst, value...)
}
