"""Commands about one model: made, checked and tried, searched, judged and promoted, carded and made again."""
