package record

import (
	"fmt"
	"strings"
)

// SettleRows is how many records settle which columns a stream has.
const SettleRows = 100

// Settle settles which columns a stream has by its first rows, at least one: those that most of them have, among equals the
// ones met first, and behind them what the others have besides, in order. It returns the placer by them, with slots and first
// as of NewPlacer, that numbers new categories.
func Settle(rows []Row, slots *Slots, first []string) *Placer {
	kinds := make([]string, len(rows))
	counts := make(map[string]int)
	for i, row := range rows {
		kinds[i] = columnsText(row)
		counts[kinds[i]]++
	}
	usual := 0
	for i, kind := range kinds {
		if counts[kind] > counts[kinds[usual]] {
			usual = i
		}
	}
	if rows[usual].Shape == nil {
		return NewPlacer(Positional(len(rows[usual].X)), slots, true, first)
	}
	p := NewPlacer(NewLayout(nil), slots, true, first)
	p.Extend(rows[usual].Shape)
	for _, row := range rows {
		if row.Shape != nil && p.Fits(row.Shape, len(row.X)) == nil && p.Extends(row.Shape) {
			p.Extend(row.Shape)
		}
	}
	return p
}

// columnsText returns a text that is the same for rows of the same columns.
func columnsText(row Row) string {
	if row.Shape == nil {
		return fmt.Sprint(len(row.X))
	}
	var text strings.Builder
	for _, c := range row.Shape.Columns {
		fmt.Fprintf(&text, "%q %v,", c.Name, c.Kind)
	}
	return text.String()
}
