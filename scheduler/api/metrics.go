package api

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// metrics counts calls as they leave this node, also those that it passed on.
type metrics struct {
	calls   *prometheus.CounterVec
	latency *prometheus.HistogramVec
	streams *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "weir_api_calls_total", Help: "Calls that have ended, by method and gRPC code.",
		}, []string{"method", "code"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "weir_api_call_seconds", Help: "Time that unary calls took, by method.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5},
		}, []string{"method"}),
		streams: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "weir_api_streams_open", Help: "Streams that are open, by method.",
		}, []string{"method"}),
	}
	if reg != nil {
		reg.MustRegister(m.calls, m.latency, m.streams)
	}
	return m
}

// unary is the outermost interceptor of unary calls: it makes statuses of
// errors and counts.
func (m *metrics) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	begun := time.Now()
	reply, err := next(ctx, req)
	err = Status(err)
	m.latency.WithLabelValues(info.FullMethod).Observe(time.Since(begun).Seconds())
	m.calls.WithLabelValues(info.FullMethod, status.Code(err).String()).Inc()
	return reply, err
}

// stream is the outermost interceptor of streams.
func (m *metrics) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	open := m.streams.WithLabelValues(info.FullMethod)
	open.Inc()
	defer open.Dec()
	err := Status(next(srv, ss))
	m.calls.WithLabelValues(info.FullMethod, status.Code(err).String()).Inc()
	return err
}
