package api

import (
	"fmt"
	"net/http"
	"time"
)

// Code names a failure to programs. It is a closed set.
type Code string

// What the caller can do something about.
const (
	InvalidRequest    Code = "INVALID_REQUEST"
	InvalidSequence   Code = "INVALID_SEQUENCE"
	Unauthorized      Code = "UNAUTHORIZED"
	Forbidden         Code = "FORBIDDEN"
	NotFound          Code = "NOT_FOUND"
	ActivityNotFound  Code = "ACTIVITY_NOT_FOUND"
	MethodNotAllowed  Code = "METHOD_NOT_ALLOWED"
	ActivityNotActive Code = "ACTIVITY_NOT_ACTIVE"
	UserAlreadyQueued Code = "USER_ALREADY_IN_QUEUE"
	Conflict          Code = "CONFLICT"
	ConfigRefused     Code = "CONFIG_REFUSED"
	RateLimited       Code = "RATE_LIMIT_EXCEEDED"
	WorkRequired      Code = "WORK_REQUIRED"
)

// What only the operator can. The log has the cause, by the request's id.
const (
	StoreUnavailable    Code = "STORE_UNAVAILABLE"
	DatabaseUnavailable Code = "DATABASE_UNAVAILABLE"
	InternalError       Code = "INTERNAL_ERROR"
)

// statuses is the one place that says which status a code has.
var statuses = map[Code]int{
	InvalidRequest:    http.StatusBadRequest,
	InvalidSequence:   http.StatusBadRequest,
	Unauthorized:      http.StatusUnauthorized,
	Forbidden:         http.StatusForbidden,
	NotFound:          http.StatusNotFound,
	ActivityNotFound:  http.StatusNotFound,
	MethodNotAllowed:  http.StatusMethodNotAllowed,
	ActivityNotActive: http.StatusConflict,
	UserAlreadyQueued: http.StatusConflict,
	Conflict:          http.StatusConflict,
	ConfigRefused:     http.StatusUnprocessableEntity,
	RateLimited:       http.StatusTooManyRequests,
	WorkRequired:      http.StatusPreconditionRequired,

	StoreUnavailable:    http.StatusServiceUnavailable,
	DatabaseUnavailable: http.StatusServiceUnavailable,
	InternalError:       http.StatusInternalServerError,
}

// fault is why a request is refused. Without a cause it is a business error,
// all of which its caller may read; the cause of a system error is for the log
// alone.
type fault struct {
	code       Code
	status     int // 0: the code's own
	says       sentence
	args       []any
	details    map[string]any
	retryAfter time.Duration
	cause      error
}

func (f *fault) Error() string {
	text := fmt.Sprintf("%s: %s", f.code, f.says.in(english, f.args))
	if f.cause != nil {
		text += ": " + f.cause.Error()
	}
	return text
}

func (f *fault) Unwrap() error { return f.cause }

// refused is a business error.
func refused(code Code, says sentence, args ...any) *fault {
	return &fault{code: code, says: says, args: args}
}

// wrong is the business error of one field of a request.
func wrong(field string, says sentence, args ...any) *fault {
	return refused(InvalidRequest, says, append([]any{field}, args...)...).with("field", field)
}

// failed is a system error.
func failed(code Code, cause error) *fault {
	says := sayInternal
	switch code {
	case StoreUnavailable:
		says = sayStoreAway
	case DatabaseUnavailable:
		says = sayDatabaseAway
	}
	return &fault{code: code, says: says, cause: cause}
}

// with adds a detail.
func (f *fault) with(name string, value any) *fault {
	if f.details == nil {
		f.details = map[string]any{}
	}
	f.details[name] = value
	return f
}

// as gives the fault a status of its own.
func (f *fault) as(status int) *fault {
	f.status = status
	return f
}
