package redisstore

// MostUnderWay is how many pipelines of a lane are under way at most.
const MostUnderWay = mostUnderWay

// Gathered is how many questions wait for a pipeline, in all lanes.
func (s *Store) Gathered() int {
	return s.overLanes(func(l *lane) int { return len(l.gathered) })
}

// UnderWay is how many pipelines are under way, in all lanes.
func (s *Store) UnderWay() int {
	return s.overLanes(func(l *lane) int { return l.underWay })
}

func (s *Store) overLanes(count func(*lane) int) (sum int) {
	s.lanes.Range(func(_, value any) bool {
		l := value.(*lane)
		l.mu.Lock()
		defer l.mu.Unlock()
		sum += count(l)
		return true
	})
	return sum
}
