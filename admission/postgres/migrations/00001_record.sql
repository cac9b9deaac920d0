-- +goose Up

-- One row: the version of everything that was made through the API. Each change
-- moves it on first, so changes wait for each other and versions order them.
CREATE TABLE catalog (
    one     boolean PRIMARY KEY DEFAULT true CHECK (one),
    version bigint  NOT NULL,
    system  jsonb            -- null: the defaults
);
INSERT INTO catalog (version) VALUES (1);

-- Far above the ids that people write into a YAML file.
CREATE SEQUENCE activity_ids START 1000000001;

CREATE TABLE activities (
    id            bigint      PRIMARY KEY,
    tenant_id     text        NOT NULL,
    name          text        NOT NULL,
    sku           text        NOT NULL,
    initial_stock bigint,
    start_at      timestamptz,
    end_at        timestamptz,
    status        text        NOT NULL,
    config        jsonb       NOT NULL,
    version       bigint      NOT NULL,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL
);
CREATE INDEX activities_tenant_status ON activities (tenant_id, status);
CREATE INDEX activities_schedule ON activities (start_at, end_at);
CREATE UNIQUE INDEX activities_tenant_sku ON activities (tenant_id, sku) WHERE sku <> '';

-- A row for each place in a line.
CREATE TABLE queue_entries (
    created_at  timestamptz NOT NULL,
    tenant_id   text        NOT NULL,
    activity_id bigint      NOT NULL,
    epoch       bigint      NOT NULL,
    seq_number  bigint      NOT NULL,
    visitor     text        NOT NULL,
    user_hash   text        NOT NULL, -- empty: the shop told nothing
    UNIQUE (visitor, activity_id, tenant_id, epoch, created_at)
) PARTITION BY RANGE (created_at);
CREATE INDEX queue_entries_seq_number ON queue_entries (activity_id, seq_number);
CREATE INDEX queue_entries_user_hash ON queue_entries (activity_id, user_hash);
CREATE INDEX queue_entries_created_at ON queue_entries (created_at);
CREATE TABLE queue_entries_default PARTITION OF queue_entries DEFAULT;

-- What became of a place, a row for each thing. It may be written before the
-- place is: another gateway may have told of it.
CREATE TABLE queue_events (
    created_at  timestamptz NOT NULL,
    tenant_id   text        NOT NULL,
    activity_id bigint      NOT NULL,
    epoch       bigint      NOT NULL,
    seq_number  bigint      NOT NULL,
    visitor     text        NOT NULL,
    user_hash   text        NOT NULL,
    kind        text        NOT NULL, -- admitted, left, converted
    wait_us     bigint      NOT NULL, -- of admitted
    UNIQUE (visitor, activity_id, tenant_id, epoch, kind, created_at)
) PARTITION BY RANGE (created_at);
CREATE INDEX queue_events_activity ON queue_events (activity_id, created_at);
CREATE TABLE queue_events_default PARTITION OF queue_events DEFAULT;

-- How a line stood: of each minute the last sample, and of its counters also
-- the first, so that what they grew by needs no sample of an earlier minute.
CREATE TABLE line_samples (
    minute         timestamptz NOT NULL,
    tenant_id      text        NOT NULL,
    activity_id    bigint      NOT NULL,
    at             timestamptz NOT NULL,
    epoch          bigint      NOT NULL,
    waiting        bigint      NOT NULL,
    turns          bigint      NOT NULL,
    sessions       bigint      NOT NULL,
    turned         bigint      NOT NULL,
    admitted       bigint      NOT NULL,
    first_at       timestamptz NOT NULL,
    first_turned   bigint      NOT NULL,
    first_admitted bigint      NOT NULL,
    PRIMARY KEY (activity_id, tenant_id, minute)
) PARTITION BY RANGE (minute);
CREATE TABLE line_samples_default PARTITION OF line_samples DEFAULT;

CREATE TABLE audit_events (
    id          uuid        PRIMARY KEY, -- of the gateway that tells: told twice it is one
    created_at  timestamptz NOT NULL,
    actor       text        NOT NULL,
    role        text        NOT NULL,
    tenant_id   text        NOT NULL, -- empty: the system's
    action      text        NOT NULL,
    activity_id bigint      NOT NULL, -- 0: none
    before      json,                 -- json, which unlike jsonb takes \u0000
    after       json,
    request_id  text        NOT NULL,
    gateway     text        NOT NULL
);
CREATE INDEX audit_events_created_at ON audit_events (created_at);
CREATE INDEX audit_events_activity ON audit_events (activity_id, created_at);
CREATE INDEX audit_events_tenant ON audit_events (tenant_id, created_at);
