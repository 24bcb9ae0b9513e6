"""What the verbs do, as plain functions of settings and an executor; none of them imports Prefect.

check      mistakes in settings, found before any work
ingest, extract, train, run    the stages, and all of them in order
backfill, retry    extract for chosen videos, and what failed once more
plan, status       what is missing and what it will cost; what there is
keep, doctor       verify, compact, export; can this machine do the work
sql                ask tables and stores in SQL, as DuckDB views
recommend, demo    ask a fitted recommender; the planted corpus, from rendering to report
steps, texts, fits, places    the steps that these consist of
executor, retries  how steps are executed, and which of their failures are tried again
"""
