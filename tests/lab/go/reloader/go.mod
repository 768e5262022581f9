module lab/reloader

go 1.26.0
