-- The database's half of the ledger: it refuses what does not add up, whatever code it comes from.
--
-- A card and its movements change in one statement, and each check runs once a statement over all rows that it wrote.
-- Together the two checks and the primary key of movements hold every history by induction: a card that moves from one
-- seq to another has exactly the movements between, each continuing the one before it from the old balance to the new
-- one; no movement is ahead of its card; and no two movements of a card share a seq.

create function cards_stand_where_their_movements_leave_them() returns trigger
language plpgsql as $$
declare
    broken record;
begin
    select after.id into broken
    from after
    join before on before.account_id = after.account_id and before.id = after.id
    left join movements newest
        on newest.account_id = after.account_id
        and newest.card_id = after.id
        and newest.seq = after.seq
    where (before.balance <> after.balance or before.seq <> after.seq)
        and (
            newest.balance_after is distinct from after.balance
            or case
                -- The common case: one movement, which continues from the card's old balance.
                when after.seq = before.seq + 1 then newest.balance_after - newest.amount <> before.balance
                else (
                    select count(*) <> after.seq - before.seq or bool_or(added.balance_after - added.amount <> added.earlier)
                    from (
                        select
                            movements.amount,
                            movements.balance_after,
                            lag(movements.balance_after, 1, before.balance) over (order by movements.seq) as earlier
                        from movements
                        where movements.account_id = after.account_id
                            and movements.card_id = after.id
                            and movements.seq > before.seq
                            and movements.seq <= after.seq
                    ) added
                )
            end
        )
    limit 1;
    if found then
        raise exception 'the balance of card % changes without its movements', broken.id
            using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end;
$$;

create trigger cards_change_with_a_movement
    after update on cards
    referencing old table as before new table as after
    for each statement execute function cards_stand_where_their_movements_leave_them();

create function movements_continue_their_history() returns trigger
language plpgsql as $$
declare
    broken record;
begin
    select newest.card_id, newest.seq into broken
    from (
        select account_id, card_id, max(seq) as seq
        from added
        group by account_id, card_id
    ) newest
    left join cards on cards.account_id = newest.account_id and cards.id = newest.card_id
    where cards.seq is null or cards.seq < newest.seq
    limit 1;
    if found then
        raise exception 'movement % is ahead of its card %', broken.seq, broken.card_id
            using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end;
$$;

create trigger movements_continue
    after insert on movements
    referencing new table as added
    for each statement execute function movements_continue_their_history();

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

-- In place of a foreign key from movements: a card that has movements is not deleted, and its key does not change.
create function cards_stay() returns trigger
language plpgsql as $$
begin
    raise exception 'cards stay: % refused', tg_op
        using errcode = 'integrity_constraint_violation';
end;
$$;

create trigger cards_with_movements_are_not_deleted
    before delete on cards
    for each row
    when (old.seq > 0)
    execute function cards_stay();

create trigger cards_keep_their_key
    before update of account_id, id on cards
    for each row
    when (old.account_id <> new.account_id or old.id <> new.id)
    execute function cards_stay();

create trigger cards_no_truncate
    before truncate on cards
    for each statement execute function cards_stay();
