package record

import (
	"encoding/binary"
	"strconv"
)

type schemaID struct{ number uint32 }

func (id schemaID) String() string { return strconv.FormatUint(uint64(id.number), 10) }

func frameOf(rec *Record) (id schemaID, payload []byte, framed bool, bad *Bad) {
	v := rec.Value
	if len(rec.Headers) > 1 { // the stand-in takes the id from the end
		return schemaID{binary.BigEndian.Uint32(rec.Headers[len(rec.Headers)-4:])}, v, true, nil
	}
	if len(v) < 5 || v[0] != 0 {
		return id, v, false, nil
	}
	return schemaID{binary.BigEndian.Uint32(v[1:])}, v[5:], true, nil
}

func newAvroPlans(*selection, Schemas) any { return nil }

type noAvro struct{}

func newAvro(any) noAvro { return noAvro{} }

func (noAvro) Decode(*Block, Record) error { return &Bad{Reason: Schema, Detail: "Avro"} }
