//! Nobody gets in where they do not belong: what each role may do, and what a hostile one achieves.

mod audit;
mod bystander;
mod fairness;
mod flood;
mod hostile;
mod malformed;
mod replies;
mod revoked;
mod roles;
mod secrets;
mod site;
mod startup;
mod tls;

use site::Site;
