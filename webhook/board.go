package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Board is where gateways write down what was seen and is still to be told. One
// gateway at a time holds it.
type Board interface {
	// Hold takes the board, or keeps it, for a few seconds from now; false:
	// another gateway has it.
	Hold(ctx context.Context) (bool, error)
	// Read returns what was written last; nil: nothing.
	Read(ctx context.Context) ([]byte, error)
	// Write replaces it, if this gateway still has the board; false: it has not.
	Write(ctx context.Context, text []byte) (bool, error)
	// Free gives the board back.
	Free(ctx context.Context) error
}

// notes are what stands on the board.
type notes struct {
	Lines   map[string]states `json:"lines"` // by "tenant:activity"
	Pending []pending         `json:"pending"`
}

// pending is an event that some hooks have not taken yet.
type pending struct {
	Event Event    `json:"event"`
	Hooks []string `json:"hooks"` // by Hook.key
}

func readNotes(text []byte) (notes, error) {
	var n notes
	if len(text) > 0 {
		if err := json.Unmarshal(text, &n); err != nil {
			return notes{}, fmt.Errorf("read what webhooks are to tell: %w", err)
		}
	}
	if n.Lines == nil {
		n.Lines = map[string]states{}
	}
	return n, nil
}

// File is the board of a gateway that is alone: a file that outlives it.
type File string

// Hold implements Board.
func (File) Hold(context.Context) (bool, error) { return true, nil }

// Free implements Board.
func (File) Free(context.Context) error { return nil }

// Read implements Board.
func (f File) Read(context.Context) ([]byte, error) {
	text, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return text, err
}

// Write implements Board. What is read is the old text or the new, whole.
func (f File) Write(_ context.Context, text []byte) (bool, error) {
	next, err := os.CreateTemp(filepath.Dir(string(f)), filepath.Base(string(f))+".*")
	if err != nil {
		return false, err
	}
	defer os.Remove(next.Name()) // gone already, if all went well
	_, err = next.Write(text)
	if err := errors.Join(err, next.Close()); err != nil {
		return false, err
	}
	return true, os.Rename(next.Name(), string(f))
}
