-- A role and its databases for each who comes from outside. MLflow and Optuna make and migrate their tables themselves.
\getenv store_password STORE_PASSWORD
\getenv mlflow_password MLFLOW_DB_PASSWORD
CREATE ROLE ratchet LOGIN PASSWORD :'store_password';
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow_password';
REVOKE CONNECT ON DATABASE postgres FROM PUBLIC;
CREATE DATABASE ratchet OWNER ratchet;
CREATE DATABASE mlflow OWNER mlflow;
REVOKE CONNECT ON DATABASE ratchet, mlflow FROM PUBLIC;
-- Last: that it answers says that all are there.
CREATE DATABASE studies OWNER ratchet;
REVOKE CONNECT ON DATABASE studies FROM PUBLIC;
