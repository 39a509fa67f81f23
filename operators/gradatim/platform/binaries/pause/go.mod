module gradatim.dev/platform/pause

go 1.26
