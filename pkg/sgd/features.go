package sgd

// features makes the vectors that a linear learner learns from. Its methods are for one goroutine.
type features interface {
	// width returns how long the vectors are, with the constant 1 that they begin with.
	width() int
	// advance takes in a row and returns its vector, which is valid until the next call and not to be changed. The learner
	// is the one that learns from the vectors: features that change with the stream look at it, and change it (see rebaser).
	advance(r row, learner stepper) []float64
	freeze() frozenFeatures
	state() []Tensor
	restore(from *Stored)
	// adopt makes the state of fresh features that of others of their kind, which are of no use then, for rows with fewer
	// columns. It returns, rising, the places here of what stands in the others' vectors.
	adopt(narrow features) (places []int)
}

// frozenFeatures makes vectors as features did when it was made. It is immutable and safe for many goroutines.
type frozenFeatures interface {
	// apply returns the vector of a row. The scratch memory, of length scratch(), is the caller's.
	apply(r row, scratch []float64) []float64
	scratch() int
	// describe adds apply to a formula: t and z are the two forms of rows. Neither z nor what it returns has the constant 1.
	describe(f *Formula, t, z int) (vectors int)
}

// rebaser is a stepper that features may be exchanged under: apart from single numbers, its state is vectors with a number
// for each feature.
type rebaser interface {
	stepper
	// rebase lets change rewrite each such vector. Start is the value that its numbers begin with.
	rebase(change func(v []float64, start float64))
}

// featureMakers holds all features, by name: functions that make them for rows of the given width.
var featureMakers = map[string]func(width int, seed uint64) features{
	"row":      func(width int, _ uint64) features { return asIs(width) },
	"products": func(width int, _ uint64) features { return newProducts(width) },
	"hats":     func(width int, seed uint64) features { return newHats(width, seed) },
	"relu":     func(width int, seed uint64) features { return newRelu(width, seed) },
}

// movingFeatures are those that need a rebaser.
var movingFeatures = []string{"products", "hats"}

// asIs is the standardised row itself.
type asIs int // features of a row

func (f asIs) width() int                         { return 1 + int(f) }
func (f asIs) advance(r row, _ stepper) []float64 { return r.z }
func (f asIs) freeze() frozenFeatures             { return f }
func (f asIs) apply(r row, _ []float64) []float64 { return r.z }
func (f asIs) scratch() int                       { return 0 }
func (f asIs) describe(_ *Formula, _, z int) int  { return z }
func (f asIs) state() []Tensor                    { return nil }
func (f asIs) restore(*Stored)                    {}
func (f asIs) adopt(narrow features) []int        { return upTo(narrow.width()) }

// upTo returns the numbers from 0 to n-1.
func upTo(n int) []int {
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i
	}
	return numbers
}
