-- name: find_template
-- Of the ids and the languages that are given, the first that has a row. pt-br is pt-BR.
select t.id, t.subject, t.html, t.text
  from notification_templates t
  join rows from (pg_catalog.unnest(:ids::text[])) with ordinality as i (id, place) on i.id = t.id
  join rows from (pg_catalog.unnest(:locales::text[])) with ordinality as l (locale, place)
    on lower(l.locale) = lower(t.locale)
 where t.channel = :channel
 order by i.place, l.place
 limit 1;

-- name: list_templates
select id, channel, locale from notification_templates order by id, channel, locale;
