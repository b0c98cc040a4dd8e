package train

import "time"

// publishEvery is how much time lies between two snapshots of a model at least. It is catchUpEvery before the model has caught
// up, when what it knows is old anyway, and compareEvery between two comparisons, which only people look at. publishShare is
// how many times as long as a publication took lies there as well: publishing takes 5 % of the time at most.
const (
	publishEvery = 20 * time.Millisecond
	catchUpEvery = 200 * time.Millisecond
	compareEvery = 500 * time.Millisecond
	publishShare = 20
)

// pacer spaces what a goroutine publishes. After each change it publishes at once or sets due, at which the goroutine
// is to call publish.
type pacer struct {
	tell  func()
	every time.Duration
	due   *time.Timer
	last  time.Time
	pause time.Duration // from last on
}

func newPacer(every time.Duration, tell func()) *pacer {
	p := &pacer{tell: tell, every: every, due: time.NewTimer(every)}
	p.due.Stop()
	return p
}

// changed says that there is something to publish, which may wait unless it is urgent.
func (p *pacer) changed(urgent bool) {
	since := time.Since(p.last)
	if urgent || since >= p.pause {
		p.publish()
		return
	}
	p.due.Reset(p.pause - since)
}

func (p *pacer) publish() {
	p.due.Stop()
	start := time.Now()
	p.tell()
	p.last = time.Now()
	p.pause = max(p.every, publishShare*p.last.Sub(start))
}
