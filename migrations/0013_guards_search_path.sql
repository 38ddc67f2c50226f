-- The functions of the triggers find their tables in this schema, whatever search_path the session has, and before any
-- temporary table of the same name. Otherwise a session could show a guard a table of its own.

do $$
declare
    guard text;
begin
    foreach guard in array array[
        'movements_are_append_only',
        'cards_stand_where_their_movements_leave_them',
        'movements_continue_their_history',
        'cards_begin_empty',
        'cards_stay',
        'audit_events_are_append_only'
    ] loop
        execute format('alter function %I() set search_path = pg_catalog, %I, pg_temp', guard, current_schema());
    end loop;
end;
$$;
