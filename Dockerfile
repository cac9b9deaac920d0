# The gateway alone, on nothing: no shell, no package, one static binary that runs
# as nobody in particular on a read-only root.
#
#     docker build -t ropeline .
#     docker run --read-only -v $PWD/ropeline.yaml:/etc/ropeline/ropeline.yaml:ro \
#       -v ropeline:/var/lib/ropeline -p 80:8080 ropeline

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.release=$VERSION" -o /out/ropeline ./cmd/ropeline \
 && CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o /out/shop ./examples/shop \
 && mkdir -p /out/data && chown 65532:65532 /out/data

# The demo shop, for examples/compose.
FROM scratch AS shop
COPY --from=build /out/shop /shop
USER 65532:65532
EXPOSE 9000
ENTRYPOINT ["/shop", "-listen", ":9000"]

FROM scratch AS ropeline
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/ropeline /ropeline
# Where the embedded store and the spool are: a volume, or they end with the
# container.
COPY --from=build --chown=65532:65532 /out/data /var/lib/ropeline
WORKDIR /var/lib/ropeline
USER 65532:65532
EXPOSE 8080
ENV ROPELINE_CONFIG=/etc/ropeline/ropeline.yaml
HEALTHCHECK --interval=5s --timeout=4s --start-period=10s CMD ["/ropeline", "healthcheck"]
ENTRYPOINT ["/ropeline"]
CMD ["run"]
