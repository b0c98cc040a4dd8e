package main

import (
	"math"
	"strings"

	"learner/pkg/record"
	"learner/pkg/serve"
	"learner/pkg/train"
)

// firstColumns returns the columns that stand first in rows where several are new: those that were asked for, in this order.
func (c *Config) firstColumns() []string {
	names := make([]string, len(c.Features))
	for i, name := range c.Features {
		names[i] = strings.TrimSuffix(strings.TrimSpace(name), "#")
	}
	return names
}

// trainer returns what this process learns or answers with, as holder or as standby; nil: nothing.
func (s *service) trainer() *train.Trainer {
	if t := s.tenure.Load(); t != nil {
		return t.trainer
	}
	if f := s.followed.Load(); f != nil {
		return f.trainer
	}
	return nil
}

// layout returns the columns of rows as this process knows them; nil: not yet.
func (s *service) layout() *record.Layout {
	if t := s.trainer(); t != nil {
		return t.Layout()
	}
	return nil
}

// columnName returns the name of a layout's column; where columns have none, what LEARNER_FEATURES would call it. Nil stands
// for a layout without names.
func (c *Config) columnName(layout *record.Layout, i int) string {
	if layout != nil && layout.Columns != nil {
		return layout.Columns[i].Name
	}
	return c.featureName(i)
}

// columnNames returns the names of a layout's columns.
func (c *Config) columnNames(layout *record.Layout) []string {
	if layout == nil {
		return []string{}
	}
	names := make([]string, layout.Features())
	for i := range names {
		names[i] = c.columnName(layout, i)
	}
	return names
}

// numberName returns the name of the column that has a place among the numbers of rows.
func (c *Config) numberName(layout *record.Layout, place int) string {
	if layout == nil || layout.Columns == nil {
		return c.featureName(place)
	}
	for _, column := range layout.Columns {
		if column.Kind != record.Numeric {
			continue
		}
		if place == 0 {
			return column.Name
		}
		place--
	}
	return ""
}

// numberNames returns the names of the columns whose values are numbers, in the order of their places.
func (c *Config) numberNames(layout *record.Layout) []string {
	if layout == nil {
		return []string{}
	}
	names := make([]string, layout.Width)
	for i := range names {
		names[i] = c.numberName(layout, i)
	}
	return names
}

// maxColumns is how many columns /api/status shows.
const maxColumns = 1000

// columnStatus is a column of rows.
type columnStatus struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`            // number or category
	Missing uint64 `json:"missing_records"` // records of the lineage without a value
}

// categoryStatus is the table of categories.
type categoryStatus struct {
	Slots      int         `json:"slots"`
	Used       int         `json:"used"`
	Categories serve.Float `json:"estimated_categories"`
	Collisions serve.Float `json:"estimated_collision_ratio"` // share of categories that have no slot of their own
}

// columnsStatus returns the first columns of rows, with what they lacked.
func (c *Config) columnsStatus(p *train.Progress) []columnStatus {
	columns := make([]columnStatus, min(p.Features(), maxColumns))
	for i := range columns {
		kind := record.Numeric
		if p.Layout.Columns != nil {
			kind = p.Layout.Columns[i].Kind
		}
		columns[i] = columnStatus{c.columnName(p.Layout, i), kind.String(), p.Missing[i]}
	}
	return columns
}

// categoriesStatus returns how full the table of categories is.
func categoriesStatus(o record.Occupancy) *categoryStatus {
	return &categoryStatus{o.Slots, o.Used, serve.Float(o.Categories), serve.Float(collisions(o))}
}

// collisions returns the estimated share of categories that have no slot of their own; NaN: there are no categories.
func collisions(o record.Occupancy) float64 {
	if math.IsInf(o.Categories, 1) {
		return 1
	}
	return (o.Categories - float64(o.Used)) / o.Categories
}

// columnMetrics brings the gauges of columns and categories up to date.
func (s *service) columnMetrics(t *train.Trainer) {
	if layout := t.Layout(); layout != nil {
		s.metrics.Columns(layout.Width, layout.Features()-layout.Width)
	}
	o := t.Slots().Occupancy()
	s.metrics.Categories(o.Slots, o.Used, collisions(o))
}
