"""`owma demo`: what adaptation does, seen on one page; and the small model that the page is about."""
