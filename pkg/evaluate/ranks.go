package evaluate

import "slices"

const (
	fewRanked  = 32 // values that are sorted
	mostRanked = 40 // times that values are parted before they are sorted: some 4 for a rank are usual
)

// rank puts the values that sorting v would put at some places, given in rising order, there, with no higher values before
// and no lower ones behind. Room has as many places as v. Values are finite.
//
// It parts v at a pivot and goes on with the parts that have places in them, as quickselect does (Hoare, CACM 4, 1961), so
// it takes a few passes where sorting takes a dozen; there is no branch on a value, which no predictor could foresee.
func rank(v, room []float64, places []int) { rankPart(v, room, places, 0, mostRanked) }

// rankPart is rank for the part of the values that begins at a place.
func rankPart(v, room []float64, places []int, begin, times int) {
	for len(places) > 0 {
		if len(v) <= fewRanked || times == 0 {
			slices.Sort(v)
			return
		}
		times--
		pivot := median(median(v[0], v[len(v)/8], v[len(v)/4]), median(v[3*len(v)/8], v[len(v)/2], v[5*len(v)/8]),
			median(v[3*len(v)/4], v[7*len(v)/8], v[len(v)-1]))
		n := part(v, room, pivot, false)
		if n == 0 { // the pivot is the lowest value: those that equal it are where they belong
			n = part(v, room, pivot, true)
		} else {
			low := 0
			for low < len(places) && places[low] < begin+n {
				low++
			}
			rankPart(v[:n], room, places[:low], begin, times)
		}
		for len(places) > 0 && places[0] < begin+n {
			places = places[1:]
		}
		v, begin = v[n:], begin+n
	}
}

// part puts the values below a pivot, or those not above it, first, and returns how many they are.
func part(v, room []float64, pivot float64, equal bool) (n int) {
	high := len(v) - 1
	room = room[:len(v)]
	for _, x := range v {
		low := below(x, pivot)
		if equal {
			low = 1 - below(pivot, x)
		}
		room[n], room[high] = x, x // one of the two is written over
		n += low
		high -= 1 - low
	}
	copy(v, room)
	return n
}

func median(a, b, c float64) float64 { return max(min(a, b), min(max(a, b), c)) }
