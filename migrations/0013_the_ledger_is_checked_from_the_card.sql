-- What 0005, 0007 and 0012 promise, asked for once instead of three times: a card and its movements change in one
-- statement, and they are compared from the card. Together the two checks and the primary key hold every history by
-- induction: a card that moves from one seq to another has exactly the movements between, each continuing the one
-- before it from the old balance to the new one; and no movement is ahead of its card, nor may there be two of a seq.

create or replace function cards_stand_where_their_movements_leave_them() returns trigger
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
                -- As it mostly is: one movement, which continues where the card stood.
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

create or replace function movements_continue_their_history() returns trigger
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

-- That a movement has its card is part of the check above; what is left of the foreign key is that the card stays.
-- The key asked for the card once more for every movement, a tenth of what it costs to write one.
alter table movements drop constraint movements_card_fkey;

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
