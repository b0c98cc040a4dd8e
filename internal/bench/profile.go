package main

import (
	"context"
	"fmt"
)

// profiles writes CPU profiles of the whole way, one for each format, codec, model, and run.
func profiles(ctx context.Context, c *cluster, o *options) error {
	rows := newRows(formatCSV, o.records)
	tests := newTests(rows)
	if err := c.fill(ctx, tests, rows); err != nil {
		return err
	}
	for i, kind := range [][2]string{{formatCSV, "none"}, {formatCSV, "lz4"}, {formatJSON, "none"}, {formatAvro, "none"}} {
		format, codec := kind[0], kind[1]
		t := &topic{name: fmt.Sprint("profile-", i), codec: codec, partitions: o.partitions, records: rows.len()}
		if err := c.fill(ctx, t, newRows(format, o.records)); err != nil {
			return err
		}
		for _, models := range []string{"logistic", "mix"} {
			for run := range o.runs {
				j := job{Stage: "whole way", Brokers: c.addrs, Topic: t.name, Tests: tests.name, Records: t.records, Models: models}
				j.Profile = fmt.Sprintf("%s/%d-%s-%d.prof", o.profiles, i, models, run)
				if _, err := spawn(ctx, &j); err != nil {
					return err
				}
			}
		}
		if err := c.remove(ctx, t); err != nil {
			return err
		}
	}
	return nil
}
