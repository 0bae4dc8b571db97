package listing

import (
	"bytes"
	"html/template"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
)

// headerName is the file whose HTML stands above the entries, as it is.
const headerName = ".header.html"

// readmes are the files of which the first stands below the entries. They are anybody's who may
// write there: HTML in them is left out.
var readmes = []string{"README.md", "readme.md", "README.txt", "README"}

// maxBeside bounds what stands beside the entries, in bytes of each file. A larger one is left out.
const maxBeside = 128 << 10

// maxMarkdown bounds what is read as Markdown, in bytes; larger ones are shown as they are. What is
// nested in itself costs time by the square of its length.
const maxMarkdown = 32 << 10

// maxCells bounds the cells of tables in a readme. Each row gets as many as the widest has, so
// that short lines below a long one would take gigabytes.
const maxCells = 100_000

// markdown leaves out HTML and references that are scripts.
var markdown = goldmark.New(goldmark.WithExtensions(extension.GFM))

// beside reads what stands above and below the entries of a directory.
func (d *Directory) beside(l *listing, all []entry) {
	l.header = template.HTML(d.content(headerName)) //nolint:gosec // it is the operator's, and the policy lets it run nothing
	for _, name := range readmes {
		if !slices.ContainsFunc(all, func(e entry) bool { return e.name == name && !e.dir }) {
			continue
		}
		text := d.content(name)
		if path.Ext(name) != ".md" || len(text) > maxMarkdown || cells(text) > maxCells {
			l.plain = string(text)
			return
		}
		var b bytes.Buffer
		if err := markdown.Convert(text, &b); err == nil {
			l.readme = template.HTML(b.String()) //nolint:gosec // there is no HTML of the file in it
		}
		return
	}
}

// cells returns how many cells the tables in a text have at most.
func cells(text []byte) int {
	rows, widest := 0, 0
	for line := range bytes.Lines(text) {
		rows, widest = rows+1, max(widest, bytes.Count(line, []byte("|")))
	}
	return rows * widest
}

// content returns what is in a small file of the directory, nil if it cannot be had.
func (d *Directory) content(name string) (text []byte) {
	if d.FS != nil {
		if f, err := d.FS.Open(d.Below + name); err == nil {
			defer func() { _ = f.Close() }() // it was only read
			text = small(f)
		}
		return text
	}
	o := d.Root.Open(d.Below+name, false)
	if o.FD < 0 {
		return nil
	}
	f := os.NewFile(uintptr(o.FD), name)
	o.Do(func() {
		defer f.Close()
		text = small(f)
	})
	return text
}

// small returns what is in a file, nil if that is too much.
func small(f io.Reader) []byte {
	b, err := io.ReadAll(io.LimitReader(f, maxBeside+1))
	if err != nil || len(b) > maxBeside {
		return nil
	}
	return bytes.ToValidUTF8(b, []byte("\uFFFD"))
}

// icons are the symbols of extensions; see the template.
var icons = func() map[string]string {
	m := make(map[string]string)
	for symbol, extensions := range map[string]string{
		"a": "zip gz tgz xz txz bz2 tbz zst tar 7z rar br lz4 lzma", "i": "png jpg jpeg gif webp avif svg svgz bmp tif tiff ico heic jxl",
		"m": "mp4 mkv webm mov avi m4v ts m3u8 mp3 flac ogg opus wav m4a aac", "t": "txt md rst log pdf html htm doc docx odt csv json xml yaml yml toml",
		"p": "iso img deb rpm apk exe msi dmg pkg appimage jar qcow2 vmdk bin whl", "s": "asc sig gpg pem crt sha256 sha512 sha1 md5 minisig",
	} {
		for ext := range strings.FieldsSeq(extensions) {
			m[ext] = symbol
		}
	}
	return m
}()

// icon returns the symbol of a file.
func icon(name string) string {
	if symbol := icons[strings.ToLower(strings.TrimPrefix(path.Ext(name), "."))]; symbol != "" {
		return symbol
	}
	return "f"
}
