package compress

import (
	"bytes"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/fserve/fserve/server/httpfile"
)

// window bounds how far back Zstandard refers, in bytes: clients need not take more (RFC 9659).
const window = 8 << 20

// Encode returns content in a coding, Gzip or Zstd, at a level from 1 to 9. It keeps memory for the
// next call. It is safe for concurrent use.
func Encode(content []byte, k httpfile.Coding, level int) ([]byte, error) {
	if k == httpfile.Zstd {
		e, err := encoders[zstd.EncoderLevelFromZstd(level)]()
		if err != nil {
			return nil, err
		}
		return e.EncodeAll(content, nil), nil
	}
	var out bytes.Buffer
	w, ok := writers[level].Get().(*gzip.Writer)
	if ok {
		w.Reset(&out)
	} else {
		var err error
		if w, err = gzip.NewWriterLevel(&out, level); err != nil {
			return nil, err
		}
	}
	defer writers[level].Put(w)
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return bytes.Clone(out.Bytes()), nil // the buffer has room to spare
}

// writers are those of gzip by level that are not in use.
var writers [gzip.BestCompression + 1]sync.Pool

// encoders are those of Zstandard by level, made when they are first needed.
var encoders = func() (list [zstd.SpeedBestCompression + 1]func() (*zstd.Encoder, error)) {
	for level := range list {
		list[level] = sync.OnceValues(func() (*zstd.Encoder, error) {
			return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.EncoderLevel(level)), zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(maxMaking), zstd.WithLowerEncoderMem(true))
		})
	}
	return list
}()
