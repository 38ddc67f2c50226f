-- The same rule as before, asked once for all cards of a statement: asked for each, it was a third of what
-- a batch of postings cost.

drop trigger cards_change_with_a_movement on cards;

create or replace function cards_stand_where_their_movements_leave_them() returns trigger
language plpgsql as $$
declare
    broken record;
begin
    select after.id into broken
    from after
    join before on before.account_id = after.account_id and before.id = after.id
    left join movements
        on movements.account_id = after.account_id
        and movements.card_id = after.id
        and movements.seq = after.seq
        and movements.balance_after = after.balance
    where (before.balance <> after.balance or before.seq <> after.seq)
        and movements.seq is null
    limit 1;
    if found then
        raise exception 'the balance of card % changes without a movement', broken.id
            using errcode = 'integrity_constraint_violation';
    end if;
    return null;
end;
$$;

create trigger cards_change_with_a_movement
    after update on cards
    referencing old table as before new table as after
    for each statement execute function cards_stand_where_their_movements_leave_them();
