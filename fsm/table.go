package fsm

import (
	"cmp"
	"iter"
	"sort"

	"github.com/tidwall/btree"
)

// table is an ordered set of items whose keys are in them. copy is O(1): both
// sides then copy the nodes that they change. Its trees have no locks of their
// own, since readers never write to a node and writers are alone.
type table[T any] struct{ t *btree.BTreeG[T] }

func newTable[T any](less func(a, b T) bool) table[T] {
	return table[T]{btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})}
}

func (t table[T]) copy() table[T]         { return table[T]{t.t.Copy()} }
func (t table[T]) len() int               { return t.t.Len() }
func (t table[T]) get(key T) (T, bool)    { return t.t.Get(key) }
func (t table[T]) set(item T)             { t.t.Set(item) }
func (t table[T]) load(item T)            { t.t.Load(item) } // set, cheap for the highest key
func (t table[T]) del(key T)              { t.t.Delete(key) }
func (t table[T]) min() (T, bool)         { return t.t.Min() }
func (t table[T]) all() iter.Seq[T]       { return t.t.Scan }
func (t table[T]) from(key T) iter.Seq[T] { return func(yield func(T) bool) { t.t.Ascend(key, yield) } }
func (t table[T]) down(key T) iter.Seq[T] {
	return func(yield func(T) bool) { t.t.Descend(key, yield) }
}

// rank counts the items before key, in O(log² n).
func (t table[T]) rank(key T) int {
	return sort.Search(t.t.Len(), func(i int) bool {
		item, _ := t.t.GetAt(i)
		return !t.t.Less(item, key)
	})
}

// dict is an ordered map, with copies as table's.
type dict[K cmp.Ordered, V any] struct{ m *btree.Map[K, V] }

func newDict[K cmp.Ordered, V any]() dict[K, V] { return dict[K, V]{btree.NewMap[K, V](0)} }

func (d dict[K, V]) copy() dict[K, V]     { return dict[K, V]{d.m.Copy()} }
func (d dict[K, V]) len() int             { return d.m.Len() }
func (d dict[K, V]) get(key K) (V, bool)  { return d.m.Get(key) }
func (d dict[K, V]) set(key K, value V)   { d.m.Set(key, value) }
func (d dict[K, V]) load(key K, value V)  { d.m.Load(key, value) }
func (d dict[K, V]) del(key K)            { d.m.Delete(key) }
func (d dict[K, V]) all() iter.Seq2[K, V] { return d.m.Scan }
func (d dict[K, V]) down(key K) iter.Seq2[K, V] {
	return func(yield func(K, V) bool) { d.m.Descend(key, yield) }
}

func (d dict[K, V]) values() iter.Seq[V] {
	return func(yield func(V) bool) {
		d.m.Scan(func(_ K, value V) bool { return yield(value) })
	}
}

// within passes items on for as long as they belong.
func within[T any](items iter.Seq[T], belongs func(T) bool) iter.Seq[T] {
	return func(yield func(T) bool) {
		for item := range items {
			if !belongs(item) || !yield(item) {
				return
			}
		}
	}
}
