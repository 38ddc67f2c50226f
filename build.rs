//! `migrate!` reads the migrations when it is compiled, and cargo must know.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
