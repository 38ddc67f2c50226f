-- The database's half of the ledger. What does not continue a card's history exactly, or leaves a card
-- standing elsewhere than its newest movement, is refused whatever code it comes from. Judged once per
-- statement over all the rows that it wrote.

create function movements_continue_their_history() returns trigger
language plpgsql as $$
declare
    broken record;
begin
    select added.card_id, added.seq into broken
    from added
    left join movements earlier
        on earlier.account_id = added.account_id
        and earlier.card_id = added.card_id
        and earlier.seq = added.seq - 1
    where (added.seq > 1 and earlier.seq is null)
        or added.balance_after <> coalesce(earlier.balance_after, 0) + added.amount
    limit 1;
    if found then
        raise exception 'movement % of card % does not continue its history', broken.seq, broken.card_id
            using errcode = 'integrity_constraint_violation';
    end if;

    select newest.card_id, newest.seq into broken
    from (
        select distinct on (account_id, card_id) account_id, card_id, seq, balance_after
        from added
        order by account_id, card_id, seq desc
    ) newest
    join cards on cards.account_id = newest.account_id and cards.id = newest.card_id
    where cards.seq <> newest.seq or cards.balance <> newest.balance_after
    limit 1;
    if found then
        raise exception 'card % does not stand where its movement % leaves it', broken.card_id, broken.seq
            using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end;
$$;

create trigger movements_continue
    after insert on movements
    referencing new table as added
    for each statement execute function movements_continue_their_history();

create function cards_stand_where_their_movements_leave_them() returns trigger
language plpgsql as $$
begin
    if not exists (
        select from movements
        where account_id = new.account_id
            and card_id = new.id
            and seq = new.seq
            and balance_after = new.balance
    ) then
        raise exception 'the balance of card % changes without a movement', new.id
            using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end;
$$;

create trigger cards_change_with_a_movement
    after update of balance, seq on cards
    for each row
    when (old.balance is distinct from new.balance or old.seq is distinct from new.seq)
    execute function cards_stand_where_their_movements_leave_them();

create function cards_begin_empty() returns trigger
language plpgsql as $$
begin
    raise exception 'card % does not begin empty', new.id
        using errcode = 'integrity_constraint_violation';
end;
$$;

create trigger cards_begin_without_money
    before insert on cards
    for each row
    when (new.balance <> 0 or new.seq <> 0)
    execute function cards_begin_empty();
