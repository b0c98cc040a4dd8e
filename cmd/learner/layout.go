package main

import (
	"strings"

	"learner/pkg/record"
)

// firstColumns returns the columns that stand first in rows where several are new: those that were asked for, in this order.
func (c *Config) firstColumns() []string {
	names := make([]string, len(c.Features))
	for i, name := range c.Features {
		names[i] = strings.TrimSuffix(strings.TrimSpace(name), "#")
	}
	return names
}

// layout returns the columns of rows as this process knows them; nil: not yet.
func (s *service) layout() *record.Layout {
	if t := s.tenure.Load(); t != nil {
		return t.trainer.Layout()
	}
	if f := s.followed.Load(); f != nil && f.trainer != nil {
		return f.trainer.Layout()
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
