package main

import (
	"context"
	"fmt"
)

// profiles writes CPU profiles of the whole way, one for each model, codec, and run.
func profiles(ctx context.Context, c *cluster, o *options) error {
	rows := newRows(formatCSV, o.records)
	tests := newTests(rows)
	if err := c.fill(ctx, tests, rows); err != nil {
		return err
	}
	for _, codec := range []string{"none", "lz4"} {
		t := &topic{name: codec, codec: codec, partitions: o.partitions, records: rows.len()}
		if err := c.fill(ctx, t, rows); err != nil {
			return err
		}
		for _, models := range []string{"logistic", "mix"} {
			for i := range o.runs {
				j := job{Stage: "whole way", Brokers: c.addrs, Topic: t.name, Tests: tests.name, Records: t.records, Models: models}
				j.Profile = fmt.Sprintf("%s/%s-%s-%d.prof", o.profiles, models, codec, i)
				if _, err := spawn(ctx, &j); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
