# syntax=docker/dockerfile:1

FROM --platform=$BUILDPLATFORM golang:1.26.8-trixie AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG TARGETOS TARGETARCH VERSION REVISION
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/var/cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH GOCACHE=/var/cache/go-build \
    go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X main.version=$VERSION -X main.revision=$REVISION" -o /learner ./cmd/learner

FROM gcr.io/distroless/static-debian13:nonroot
ARG VERSION REVISION
LABEL org.opencontainers.image.title="learner" \
      org.opencontainers.image.description="Keeps machine-learning models trained from Kafka and shows how good they are" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /learner /learner
# The image's nonroot user, as a number: Kubernetes can then tell that it is not root.
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
# Kubernetes has probes of its own and ignores this.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/learner", "healthcheck"]
ENTRYPOINT ["/learner"]
