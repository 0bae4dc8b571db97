package wire

// Reason says why a request was refused; OK means that it was not. Reasons are
// small consecutive numbers, so that they can index an array of counters.
// After any reason but OK the connection must be closed behind the answer, since it is
// not known where the next request would begin.
type Reason uint8

const (
	OK Reason = iota

	BareCR                // CR that is not followed by LF
	BareLF                // LF that does not follow CR
	BadMethod             // not a token
	MethodTooLong         // longer than any method that is implemented by anyone
	BadTarget             // request-target of no known form, or with bytes that no URI has
	TargetTooLong         // over Limits.MaxTarget
	BadVersion            // not HTTP/DIGIT.DIGIT, or none at all (HTTP/0.9)
	UnsupportedVersion    // well-formed, but not HTTP/1.x
	ObsFold               // a line that begins with a space or tab
	BadFieldName          // not a token, or space before the colon, or no colon
	BadFieldValue         // control characters in a value
	TooManyFields         // over Limits.MaxFields
	HeadTooLarge          // over Limits.MaxHead
	NoHost                // HTTP/1.1 without Host
	RepeatedHost          // more than one Host line
	BadHost               // not uri-host [ ":" port ]
	BadContentLength      // not a number that fits in 63 bits
	RepeatedLength        // more than one Content-Length, equal or not
	LengthAndEncoding     // Content-Length together with Transfer-Encoding
	BadTransferEncoding   // chunked twice or not last, or Transfer-Encoding on HTTP/1.0
	UnknownTransferCoding // a coding other than chunked
	UnknownExpectation    // Expect other than 100-continue
	BadChunk              // chunk size, extension or line end
	ChunkOverhead         // more extensions and trailers than MaxChunkOverhead
	BadTrailer            // a trailer line that is no field line
	BodyTooLarge          // more chunked data than the caller takes

	NumReason
)

// more is what the parts of the parser answer when the bytes end too early.
const more = NumReason

var reasons = [NumReason]struct {
	status int
	text   string
}{
	OK:                    {0, "ok"},
	BareCR:                {400, "bare CR"},
	BareLF:                {400, "bare LF"},
	BadMethod:             {400, "bad method"},
	MethodTooLong:         {501, "method too long"},
	BadTarget:             {400, "bad target"},
	TargetTooLong:         {414, "target too long"},
	BadVersion:            {400, "bad version"},
	UnsupportedVersion:    {505, "unsupported version"},
	ObsFold:               {400, "folded line"},
	BadFieldName:          {400, "bad field name"},
	BadFieldValue:         {400, "bad field value"},
	TooManyFields:         {431, "too many fields"},
	HeadTooLarge:          {431, "head too large"},
	NoHost:                {400, "no host"},
	RepeatedHost:          {400, "repeated host"},
	BadHost:               {400, "bad host"},
	BadContentLength:      {400, "bad content-length"},
	RepeatedLength:        {400, "repeated content-length"},
	LengthAndEncoding:     {400, "content-length with transfer-encoding"},
	BadTransferEncoding:   {400, "bad transfer-encoding"},
	UnknownTransferCoding: {501, "unknown transfer coding"},
	UnknownExpectation:    {417, "unknown expectation"},
	BadChunk:              {400, "bad chunk"},
	ChunkOverhead:         {400, "chunk overhead"},
	BadTrailer:            {400, "bad trailer"},
	BodyTooLarge:          {413, "body too large"},
}

// Status returns the HTTP status that answers the request; 0 for OK.
func (r Reason) Status() int {
	if r >= NumReason {
		return 400
	}
	return reasons[r].status
}

// String returns a short text for logs and metric labels.
func (r Reason) String() string {
	if r >= NumReason {
		return "unknown"
	}
	return reasons[r].text
}
