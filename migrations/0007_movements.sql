-- The ledger. seq is assigned under the card's row lock, without a gap: it is the order of the history, the cursor of
-- its pages and the proof that no movement is missing.
--
-- No foreign key leads to the card. The guards compare each movement with its card anyway, and the key would look the
-- card up once more for every movement, a tenth of what it costs to write one.

create table movements (
    account_id uuid not null,
    card_id uuid not null,
    seq bigint not null,
    id uuid not null,
    kind text not null,
    amount bigint not null,
    balance_after bigint not null,
    description text not null,
    created_at timestamptz not null,
    -- Who posted it, through which request. Null: nobody was logged in.
    user_id uuid,
    request_id text,
    constraint movements_pkey primary key (account_id, card_id, seq),
    constraint movements_kind_known check (kind in ('top_up', 'purchase', 'refund')),
    constraint movements_seq_positive check (seq > 0),
    constraint movements_amount_sign check (case kind when 'purchase' then amount < 0 else amount > 0 end),
    constraint movements_amount_bounds check (amount between -9007199254740991 and 9007199254740991),
    constraint movements_balance_bounds check (balance_after between 0 and 9007199254740991),
    constraint movements_description_length check (char_length(description) between 1 and 200)
);

create function movements_are_append_only() returns trigger
language plpgsql as $$
begin
    raise exception 'movements are append-only: % refused', tg_op
        using errcode = 'integrity_constraint_violation';
end;
$$;

create trigger movements_append_only
    before update or delete on movements
    for each row execute function movements_are_append_only();

create trigger movements_no_truncate
    before truncate on movements
    for each statement execute function movements_are_append_only();
