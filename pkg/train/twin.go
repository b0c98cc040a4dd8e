package train

import (
	"learner/pkg/evaluate"
	"learner/pkg/sgd"
)

// modelCopy is a champion as it was.
type modelCopy struct {
	at        uint64        // records of the lineage
	tensors   []sgd.Tensor  // its state
	predictor sgd.Predictor // answers as it did
}

// keptCopy is a copy, and how many dense features the rows had by then. It may be asked for wider ones.
type keptCopy struct {
	modelCopy
	width int
}

// copyDue returns how many records are to be learned until a copy is taken, 1 to age, when so many were learned; 0 where
// none ever is.
func copyDue(age, records uint64) uint64 {
	if age == 0 {
		return 0
	}
	return age - records%age
}

// referenceRows returns how many rows the features' reference of a copy is of, and a window.
func referenceRows(age uint64) uint64 { return max(10, min(stabilityRows, age)) }

// settle takes note of the width of rows, which may grow.
func (c *compare) settle(width int) {
	c.width = width
	switch {
	case c.stability != nil:
		c.stability.Grow(width)
	case c.age > 0:
		c.stability = evaluate.NewStability(width, int(referenceRows(c.age)))
	}
}

// refresh takes in a copy of the champion as it is now. The one before it predicts from now on.
func (c *compare) refresh(champion modelCopy) {
	c.predicting, c.newest = c.newest, &keptCopy{champion, c.width}
	if c.stability != nil {
		c.stability.Mark()
	}
	c.renew()
}

// drop forgets both copies.
func (c *compare) drop() {
	c.newest, c.predicting = nil, nil
	if c.stability != nil {
		c.stability.Drop()
	}
	c.renew()
}

// renew is due when another copy predicts, or none does any more.
func (c *compare) renew() {
	for _, d := range c.detectors[ofExcess:ofFeatures] {
		d.gauge.Restart()
	}
	c.show()
}

// show has others see the copy that predicts.
func (c *compare) show() {
	if c.predicting == nil {
		c.twin.Store(nil)
	} else {
		c.twin.Store(&c.predicting.predictor)
	}
}

// revive returns what predicts as the champion did in a state, when rows had that width.
func (c *compare) revive(state []sgd.Tensor, width int) (sgd.Predictor, error) {
	model := c.specs[c.champion].New(width, c.seed)
	if err := model.Restore(state); err != nil {
		return nil, err
	}
	return model.Snapshot(), nil
}
