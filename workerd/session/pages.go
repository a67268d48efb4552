package session

import (
	"context"

	"github.com/weirbuild/weir/proto/pb"
)

// maxPages is how many questions for pages may wait; more are refused at once.
const maxPages = 16

// pager answers a session's questions for pages of metrics, one after the other,
// so that they hold nothing else up.
type pager struct {
	session *Session
	asked   chan *pb.PageRequest
}

func newPager(s *Session) *pager {
	return &pager{session: s, asked: make(chan *pb.PageRequest, maxPages)}
}

// ask never waits.
func (p *pager) ask(r *pb.PageRequest) {
	select {
	case p.asked <- r:
	default:
		p.answer(&pb.Page{Nonce: r.Nonce, Error: "too many pages are asked for at the same time"})
	}
}

func (p *pager) answer(page *pb.Page) {
	out := p.session.out
	out.put(func() { out.pages = append(out.pages, page) })
}

// run answers until ctx ends.
func (p *pager) run(ctx context.Context) {
	for {
		select {
		case r := <-p.asked:
			page := &pb.Page{Nonce: r.Nonce}
			if p.session.cfg.Page == nil {
				page.Error = "it has no pages"
			} else if text, err := p.session.cfg.Page(ctx, r.Name); err != nil {
				page.Error = err.Error()
			} else {
				page.Gzip = text
			}
			p.answer(page)
		case <-ctx.Done():
			return
		}
	}
}
