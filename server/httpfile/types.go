package httpfile

import (
	"errors"
	"fmt"
	"strings"
)

// ContentType returns the value of Content-Type for a path, by its extension.
// Text gets a charset. XML and JSON types do not: XML names its charset inside, and
// JSON has only one.
func (p *Policy) ContentType(path string) string {
	typ := p.lookupType(extension(path))
	if p.charset != "none" && strings.HasPrefix(typ, "text/") && !hasCharset(typ) {
		typ += "; charset=" + p.charset
	}
	return typ
}

func (p *Policy) lookupType(ext string) string {
	if ext == "" {
		return p.defaultType
	}
	if t, ok := p.types[ext]; ok {
		return t
	}
	if t, ok := builtinTypes[ext]; ok {
		return t
	}
	return p.defaultType
}

// compileTypes checks the types of a Config and makes their keys like those of
// the built-in table.
func compileTypes(add map[string]string) (map[string]string, error) {
	types := make(map[string]string, len(add))
	var faults []error
	for ext, typ := range add {
		key := strings.ToLower(strings.TrimPrefix(ext, "."))
		if key == "" || strings.ContainsAny(key, "./") {
			faults = append(faults, fmt.Errorf("content type of %q: not an extension", ext))
		}
		if err := checkType(fmt.Sprintf("content type of %q:", ext), typ); err != nil {
			faults = append(faults, err)
		}
		types[key] = typ
	}
	return types, errors.Join(faults...)
}

// hasCharset reports whether a type names its charset.
func hasCharset(typ string) bool {
	return strings.Contains(strings.ToLower(typ), "charset=")
}

// extension returns what follows the last dot of the last segment, in lower
// case; nothing for a name whose only dot is its first byte.
func extension(path string) string {
	name := path[strings.LastIndexByte(path, '/')+1:]
	dot := strings.LastIndexByte(name, '.')
	if dot <= 0 {
		return ""
	}
	return strings.ToLower(name[dot+1:])
}

// builtinTypes follow the IANA registry; where it is silent, what clients
// expect (mime.types of Debian and nginx).
var builtinTypes = map[string]string{
	// Text and documents of the web
	"html": "text/html", "htm": "text/html", "shtml": "text/html",
	"xhtml": "application/xhtml+xml",
	"css":   "text/css", "js": "text/javascript", "mjs": "text/javascript", "cjs": "text/javascript",
	"json": "application/json", "map": "application/json", "jsonld": "application/ld+json",
	"geojson": "application/geo+json", "topojson": "application/json",
	"webmanifest": "application/manifest+json", "har": "application/json",
	"ndjson": "application/x-ndjson", "jsonl": "application/x-ndjson",
	"xml": "application/xml", "xsl": "application/xslt+xml", "xslt": "application/xslt+xml",
	"xsd": "application/xml", "dtd": "application/xml-dtd",
	"rss": "application/rss+xml", "atom": "application/atom+xml",
	"wasm": "application/wasm", "vtt": "text/vtt", "srt": "application/x-subrip",
	"appcache": "text/cache-manifest", "htc": "text/x-component",

	// Text
	"txt": "text/plain", "text": "text/plain", "log": "text/plain", "conf": "text/plain",
	"cfg": "text/plain", "ini": "text/plain", "asc": "text/plain", "diff": "text/plain",
	"patch": "text/plain", "md5": "text/plain", "sha1": "text/plain", "sha256": "text/plain",
	"sha512": "text/plain", "md": "text/markdown", "markdown": "text/markdown",
	"csv": "text/csv", "tsv": "text/tab-separated-values",
	"ics": "text/calendar", "vcf": "text/vcard",
	"yaml": "application/yaml", "yml": "application/yaml", "toml": "application/toml",
	"sql": "application/sql", "graphql": "application/graphql",
	"go": "text/plain", "c": "text/plain", "h": "text/plain", "cc": "text/plain",
	"cpp": "text/plain", "hpp": "text/plain", "rs": "text/plain", "py": "text/plain",
	"rb": "text/plain", "pl": "text/plain", "sh": "text/plain",
	"tsx": "text/plain", "jsx": "text/javascript", "java": "text/plain", "lua": "text/plain",

	// Images
	"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "jpe": "image/jpeg",
	"jfif": "image/jpeg", "gif": "image/gif", "webp": "image/webp", "avif": "image/avif",
	"avifs": "image/avif", "heic": "image/heic", "heif": "image/heif", "jxl": "image/jxl",
	"apng": "image/apng", "svg": "image/svg+xml", "ico": "image/vnd.microsoft.icon",
	"cur": "image/vnd.microsoft.icon", "bmp": "image/bmp", "tif": "image/tiff",
	"tiff": "image/tiff", "jp2": "image/jp2", "j2k": "image/jp2", "jpx": "image/jpx",
	"psd": "image/vnd.adobe.photoshop", "dng": "image/x-adobe-dng", "tga": "image/x-tga",
	"ktx": "image/ktx", "ktx2": "image/ktx2", "dds": "image/vnd.ms-dds",
	"wbmp": "image/vnd.wap.wbmp", "djvu": "image/vnd.djvu",

	// Audio
	"mp3": "audio/mpeg", "m4a": "audio/mp4", "m4b": "audio/mp4", "aac": "audio/aac",
	"ogg": "audio/ogg", "oga": "audio/ogg", "opus": "audio/ogg", "spx": "audio/ogg",
	"flac": "audio/flac", "wav": "audio/wav", "weba": "audio/webm", "mka": "audio/x-matroska",
	"mid": "audio/midi", "midi": "audio/midi", "aif": "audio/aiff", "aiff": "audio/aiff",
	"amr": "audio/amr", "wma": "audio/x-ms-wma", "m3u": "audio/x-mpegurl",

	// Video and streaming
	"mp4": "video/mp4", "m4v": "video/mp4", "m4s": "video/iso.segment", "webm": "video/webm",
	"ogv": "video/ogg", "mov": "video/quicktime", "qt": "video/quicktime",
	"mkv": "video/x-matroska", "avi": "video/x-msvideo", "wmv": "video/x-ms-wmv",
	"flv": "video/x-flv", "mpg": "video/mpeg", "mpeg": "video/mpeg", "3gp": "video/3gpp",
	"3g2": "video/3gpp2", "ts": "video/mp2t", "m2ts": "video/mp2t", "mts": "video/mp2t",
	"m3u8": "application/vnd.apple.mpegurl", "mpd": "application/dash+xml",

	// Fonts
	"woff2": "font/woff2", "woff": "font/woff", "ttf": "font/ttf", "otf": "font/otf",
	"ttc": "font/collection", "eot": "application/vnd.ms-fontobject",

	// Documents
	"pdf": "application/pdf", "epub": "application/epub+zip", "ps": "application/postscript",
	"eps": "application/postscript", "ai": "application/postscript", "rtf": "application/rtf",
	"doc":  "application/msword",
	"docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	"xls":  "application/vnd.ms-excel",
	"xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	"ppt":  "application/vnd.ms-powerpoint",
	"pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	"odt":  "application/vnd.oasis.opendocument.text",
	"ods":  "application/vnd.oasis.opendocument.spreadsheet",
	"odp":  "application/vnd.oasis.opendocument.presentation",
	"mobi": "application/x-mobipocket-ebook", "azw3": "application/vnd.amazon.mobi8-ebook",
	"kml": "application/vnd.google-earth.kml+xml", "kmz": "application/vnd.google-earth.kmz",
	"gpx": "application/gpx+xml", "parquet": "application/vnd.apache.parquet",
	"sqlite": "application/vnd.sqlite3", "sqlite3": "application/vnd.sqlite3",

	// Archives and compressed files
	"zip": "application/zip", "gz": "application/gzip", "tgz": "application/gzip",
	"bz2": "application/x-bzip2", "tbz": "application/x-bzip2", "tbz2": "application/x-bzip2",
	"xz": "application/x-xz", "txz": "application/x-xz", "lzma": "application/x-lzma",
	"zst": "application/zstd", "tzst": "application/zstd", "br": "application/x-brotli",
	"lz4": "application/x-lz4", "lz": "application/lzip", "z": "application/x-compress",
	"tar": "application/x-tar", "7z": "application/x-7z-compressed",
	"rar": "application/vnd.rar", "cab": "application/vnd.ms-cab-compressed",
	"cpio": "application/x-cpio", "ar": "application/x-archive", "warc": "application/warc",

	// Packages, images of disks, programs
	"deb": "application/vnd.debian.binary-package", "udeb": "application/vnd.debian.binary-package",
	"rpm": "application/x-rpm", "drpm": "application/x-rpm",
	"apk": "application/vnd.android.package-archive", "aab": "application/octet-stream",
	"ipa": "application/octet-stream", "jar": "application/java-archive",
	"war": "application/java-archive", "ear": "application/java-archive",
	"whl": "application/zip", "egg": "application/zip", "nupkg": "application/zip",
	"vsix": "application/zip", "xpi": "application/x-xpinstall",
	"crx": "application/x-chrome-extension", "gem": "application/octet-stream",
	"crate": "application/gzip", "snap": "application/vnd.snap", "flatpak": "application/vnd.flatpak",
	"flatpakref": "application/vnd.flatpak.ref", "appimage": "application/vnd.appimage",
	"msi": "application/x-msi", "msix": "application/msix", "appx": "application/appx",
	"exe": "application/vnd.microsoft.portable-executable",
	"dll": "application/vnd.microsoft.portable-executable",
	"dmg": "application/x-apple-diskimage", "pkg": "application/octet-stream",
	"iso": "application/x-iso9660-image", "img": "application/octet-stream",
	"vmdk": "application/octet-stream", "qcow2": "application/octet-stream",
	"vhd": "application/octet-stream", "vhdx": "application/octet-stream",
	"ova": "application/x-tar", "bin": "application/octet-stream",
	"efi": "application/octet-stream", "so": "application/octet-stream",
	"class": "application/java-vm", "swf": "application/vnd.adobe.flash.movie",
	"torrent": "application/x-bittorrent", "metalink": "application/metalink+xml",
	"meta4": "application/metalink4+xml", "zsync": "application/x-zsync",
	"gguf": "application/octet-stream", "safetensors": "application/octet-stream",

	// Keys and signatures
	"sig": "application/pgp-signature", "gpg": "application/octet-stream",
	"pgp": "application/pgp-encrypted", "pem": "application/x-pem-file",
	"crt": "application/x-x509-ca-cert", "cer": "application/pkix-cert",
	"der": "application/x-x509-ca-cert", "crl": "application/pkix-crl",
	"p12": "application/x-pkcs12", "pfx": "application/x-pkcs12",
	"p7s": "application/pkcs7-signature",
}
