package train

import "time"

// publishEvery is how much time lies between two publications at least. publishShare is how many times as long as a
// publication took it lies as well: publishing takes 5 % of the time at most.
const (
	publishEvery = 20 * time.Millisecond
	publishShare = 20
)

// pacer spaces what a goroutine publishes. After each change it publishes at once or sets due, at which the goroutine
// is to call publish.
type pacer struct {
	tell  func()
	due   *time.Timer
	last  time.Time
	pause time.Duration // from last on
}

func newPacer(tell func()) *pacer {
	p := &pacer{tell: tell, due: time.NewTimer(publishEvery)}
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
	p.pause = max(publishEvery, publishShare*p.last.Sub(start))
}
