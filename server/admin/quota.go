package admin

import (
	"net/http"
	"time"

	"github.com/fserve/fserve/engine/rate"
	"github.com/fserve/fserve/server/quota"
)

// quotas is the listener as far as it shows and changes what users have had.
type quotas struct{ *Admin }

// quotaView is one of the answer to GET, PUT and DELETE /quota/NAME.
type quotaView struct {
	Period string    `json:"period"`
	Used   int64     `json:"used"` // bytes
	Ends   time.Time `json:"ends"`
}

// quotaNames are what names stand for, by the parameter of.
var quotaNames = map[string]string{"": quota.OfUser, "user": quota.OfUser, "address": quota.OfAddress, "link": quota.OfLink}

// find returns the accounts that a request names.
func (q quotas) find(r *http.Request) ([]*quota.Account, *problem) {
	of, ok := quotaNames[r.URL.Query().Get("of")]
	if !ok {
		return nil, bad("of", "it is user, address or link")
	}
	name := r.PathValue("name")
	if of == quota.OfAddress {
		var p *problem
		if name, p = q.clientName("name", name); p != nil {
			return nil, p
		}
	}
	list := q.cfg.Server.Quotas().Named(of+name, time.Now().Unix())
	if len(list) == 0 {
		return nil, problemf(http.StatusNotFound, "%s has had nothing that a quota counts", shorten(name))
	}
	return list, nil
}

func (q quotas) get(r *http.Request) (any, *problem) {
	list, p := q.find(r)
	if p != nil {
		return nil, p
	}
	return viewQuotas(list), nil
}

func viewQuotas(list []*quota.Account) []quotaView {
	views := make([]quotaView, len(list))
	for i, a := range list {
		views[i] = quotaView{a.Kind().String(), a.Used(), time.Unix(a.Ends(), 0).UTC()}
	}
	return views
}

func (q quotas) put(r *http.Request) (any, *problem) {
	o, p := readObject(r, "used")
	if p != nil {
		return nil, p
	}
	text, _, p := o.text("used")
	if p != nil {
		return nil, p
	}
	n, err := rate.ParseSize(text)
	if err != nil {
		return nil, bad("used", "%v", err)
	}
	return q.set(r, int64(n))
}

func (q quotas) delete(r *http.Request) (any, *problem) { return q.set(r, 0) }

// set says what is used of all accounts of a name.
func (q quotas) set(r *http.Request, n int64) (any, *problem) {
	list, p := q.find(r)
	if p != nil {
		return nil, p
	}
	was := viewQuotas(list)
	for _, a := range list {
		a.Set(n)
	}
	q.log.Info("quota changed", "who", q.who(r), "of", r.PathValue("name"), "was", was, "is", n)
	return viewQuotas(list), nil
}
