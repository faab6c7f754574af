-- Which run is the work of which attempt of a task, and the outbox by kind.

create table child (
    parent bigint not null,
    no bigint not null,
    idx bigint not null,
    epoch bigint not null,
    run bigint not null,
    primary key (parent, no, idx, epoch)
);
create index child_whole on child (parent, no, epoch) where idx = -1;
create index outbox_kind on outbox (kind, seq);
