-- The lengths of labels and external ids. Reads every row, and blocks nobody.
alter table cards validate constraint cards_label_length;
alter table cards validate constraint cards_external_id_length;
alter table customers validate constraint customers_external_id_length;
